// Numbers as people read them. All of them end in a unit, or none has one.

const whole = new Intl.NumberFormat("en");
const NONE = "–";

function digits(value, places) {
  return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}

/** Three digits that count: 4.21, 42.1, 421. */
function three(value) {
  return digits(value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

export function count(value) {
  if (value === null || value === undefined) return NONE;
  if (Math.abs(value) >= 1e7) return `${three(value / (value >= 1e9 ? 1e9 : 1e6))} ${value >= 1e9 ? "bn" : "m"}`;
  return whole.format(Math.round(value));
}

export function share(value) {
  if (value === null || value === undefined) return NONE;
  const percent = value * 100;
  // What is not all of it does not read so: 99.96 % is 99.9 %.
  return `${digits(percent < 100 ? Math.floor(percent * 10 + 1e-9) / 10 : 100, 1)} %`;
}

export function rate(value) {
  return value < 9.95 ? digits(value, 1) : count(value);
}

/** How long something takes. */
export function latency(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds === 0) return "0";
  if (seconds < 0.9995e-3) return `${three(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${three(seconds * 1e3)} ms`;
  return seconds < 120 ? `${three(seconds)} s` : span(seconds);
}

/** How long something lasts. */
export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return NONE;
  if (!Number.isFinite(seconds)) return "for ever";
  if (seconds < 0) return `−${span(-seconds)}`;
  if (seconds < 1) return seconds < 0.05 ? "0 s" : `${digits(seconds, 1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  for (const [unit, size, next, smaller] of [["min", 60, 60, "s"], ["h", 3600, 24, "min"], ["d", 86400, Infinity, "h"]]) {
    const part = unit === "min" ? 1 : unit === "h" ? 60 : 3600;
    if (seconds < size * next) {
      const rest = Math.floor((seconds % size) / part);
      return `${whole.format(Math.floor(seconds / size))} ${unit}${rest ? ` ${rest} ${smaller}` : ""}`;
    }
  }
  return NONE;
}

export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  let unit = 0;
  let amount = value;
  const units = ["B", "kB", "MB", "GB", "TB"];
  while (amount >= 999.5 && unit < units.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  return unit ? `${three(amount)} ${units[unit]}` : `${amount} B`;
}

export function dollars(value) {
  if (!value) return "$0";
  if (value < 0.01) return `$${value.toPrecision(2)}`;
  return value >= 1e7 ? `$${count(value)}` : `$${digits(value, value < 1000 ? 2 : 0)}`;
}

function date(seconds) {
  return new Date(seconds * 1000);
}

/** The time of an instant, and its day where it is another one than today. */
export function instant(seconds, now = Date.now() / 1000) {
  if (!seconds) return NONE;
  if (!Number.isFinite(seconds)) return "never";
  const at = date(seconds);
  const time = at.toLocaleTimeString("en-GB");
  if (at.toDateString() === date(now).toDateString()) return time;
  return `${day(seconds)} ${time.slice(0, 5)}`;
}

export function day(seconds) {
  return date(seconds).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

/** The point of a plot. */
export function point(seconds, step) {
  return step >= 86400 ? day(seconds) : date(seconds).toLocaleTimeString("en-GB").slice(0, 5);
}

export function ago(seconds) {
  return seconds < 1.5 ? "just now" : `${span(seconds)} ago`;
}

export function several(number, one, more = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : more}`;
}
