-- Store blobs, each only if it is newer than what is there. Repeating or delaying a call is harmless.
--
-- KEYS   the keys; one may come twice
-- ARGV   two for each key: the blob; and, to store it only where no live value is, the version (16 bytes) at or beneath
--        which values count as gone, else ''
-- reply  one string for each key:
--        what was done      S stored; A the same version was there; N a newer one, or a live value, was there;
--                           F a value of another type was there and is left alone
--        what was there     L a live value; D a tombstone, or a value past its end; X bytes that are no blob; - nothing
--        its version        16 bytes, after L and D
--
-- Offsets are those of a blob's header (toolcache/blob.py; change both together): magic and format 1..3, flags 4,
-- version 5..20, created 21..28, gone 37..44, digest of the key 49..64, CRC-32 of all before it 71..74, all big-endian. What is alive, and
-- for how long, goes by the server's own clock.

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local function milliseconds(blob, at)
  local a, b, c, d, e, f, g, h = string.byte(blob, at, at + 7)
  return ((((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f) * 256 + g) * 256 + h
end

local function created(blob) return milliseconds(blob, 21) end
local function gone(blob) return milliseconds(blob, 37) end

local function lt(a, b) -- bytewise; Lua's own < follows the server's locale
  for i = 1, #a do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return false
end

local NIBBLES = { -- of the CRC-32 with the reversed polynomial 0xedb88320
  0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
  0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c }

local function whole(head) -- whether it is what somebody wrote; costs more than the rest, so ask only where it decides
  if not bit then return true end -- not a server but a double of one, which has no such library
  local crc, told = 0xffffffff, 0
  for i = 1, 70 do
    crc = bit.bxor(crc, string.byte(head, i))
    for _ = 1, 2 do crc = bit.bxor(bit.rshift(crc, 4), NIBBLES[bit.band(crc, 15) + 1]) end
  end
  for i = 71, 74 do told = told * 256 + string.byte(head, i) end
  return bit.bnot(crc) % 4294967296 == told
end

local function kind(head, blob)
  if #head == 0 then return '-' end
  if #head < 74 or string.sub(head, 1, 3) ~= 'TC\1' or string.sub(head, 49, 64) ~= string.sub(blob, 49, 64) then
    return 'X'
  end
  local tombstone = string.byte(head, 4) % 2 == 1
  return (tombstone or gone(head) <= now) and 'D' or 'L'
end

local function put(key, blob)
  -- never for longer than it was good for when it was made, by a clock that may have been ahead
  local left = gone(blob) - math.max(now, created(blob))
  -- pcall, so that the reply keeps the error's own code (OOM, READONLY, ...) on every server
  if left > 1e14 then return redis.pcall('SET', key, blob) end -- no end, or millennia
  return redis.pcall('SET', key, blob, 'PX', string.format('%.0f', math.max(left, 1)))
end

local done = {}
for i, key in ipairs(KEYS) do
  local blob, dead = ARGV[2 * i - 1], ARGV[2 * i]
  local head = redis.pcall('GETRANGE', key, 0, 73)
  if type(head) == 'table' then
    if not string.find(head.err, 'WRONGTYPE', 1, true) then return head end
    done[i] = 'F'
  else
    local what, verdict, held = kind(head, blob), 'S', ''
    if what == 'L' or what == 'D' then
      local new = string.sub(blob, 5, 20)
      held = string.sub(head, 5, 20)
      if held == new then
        verdict = 'A'
      elseif lt(new, held) or #dead == 16 and what == 'L' and lt(dead, held) then
        verdict = 'N'
      end
      -- damaged bytes that look newer would stand in the way of every write, and be read by nobody
      if verdict ~= 'S' and not whole(head) then what, verdict, held = 'X', 'S', '' end
    end
    if verdict == 'S' then
      local said = put(key, blob)
      if said.err then return said end
    end
    done[i] = verdict .. what .. held
  end
end
return done
