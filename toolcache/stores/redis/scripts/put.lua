-- Store blobs, each only if it is newer than what is there. Repeating or delaying a call is harmless.
--
-- KEYS   the keys; one may come twice
-- ARGV   two for each key: the blob; and, to store it only where no live value is, the version (16 bytes) at or beneath
--        which values count as gone, else ''
-- reply  one string, which has for each key:
--        what was done      S stored; A the same version was there; N a newer one, or a live value, was there;
--                           F a value of another type was there and is left alone
--        what was there     L a live value; D a tombstone, or a value past its end; X bytes that are no blob; - nothing
--        its version        16 bytes, after A and N
--
-- Offsets are those of a blob's header (toolcache/blob.py; change both together): magic and format 1..3, flags 4,
-- version 5..20, created 21..28, gone 37..44, digest of the key 49..64, CRC-32 of all before it 71..74, all big-endian. What is alive, and
-- for how long, goes by the server's own clock.

local byte, sub, call = string.byte, string.sub, redis.pcall -- pcall: a reply keeps the error's own code (OOM, READONLY, ...) on every server
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local function milliseconds(blob, at)
  local a, b, c, d, e, f, g, h = byte(blob, at, at + 7)
  return ((((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f) * 256 + g) * 256 + h
end

local function older(a, b) -- of versions, bytewise; Lua's own < follows the server's locale
  for i = 1, 16 do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y end
  end
  return false
end

local function whole(head) -- whether it is what somebody wrote; costs more than the rest, so ask only where it decides
  if not bit then return true end -- not a server but a double of one, which has no such library
  local nibbles = { -- of the CRC-32 with the reversed polynomial 0xedb88320
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c }
  local crc, told = 0xffffffff, 0
  for i = 1, 70 do
    crc = bit.bxor(crc, byte(head, i))
    for _ = 1, 2 do crc = bit.bxor(bit.rshift(crc, 4), nibbles[bit.band(crc, 15) + 1]) end
  end
  for i = 71, 74 do told = told * 256 + byte(head, i) end
  return bit.bnot(crc) % 4294967296 == told
end

-- In one run, since to make functions and to call them is much of what so little takes.
local done = {}
for i, key in ipairs(KEYS) do
  local blob, dead = ARGV[2 * i - 1], ARGV[2 * i]
  local head = call('GETRANGE', key, 0, 73)
  local said, held = 'S-', ''
  if type(head) == 'table' then
    if not string.find(head.err, 'WRONGTYPE', 1, true) then return head end
    said = 'F-'
  elseif head ~= '' then
    if #head < 74 or sub(head, 1, 3) ~= 'TC\1' or sub(head, 49, 64) ~= sub(blob, 49, 64) then
      said = 'SX'
    else
      local new, live = sub(blob, 5, 20), byte(head, 4) % 2 == 0 and milliseconds(head, 37) > now
      held, said = sub(head, 5, 20), live and 'SL' or 'SD'
      if held == new then
        said = live and 'AL' or 'AD'
      elseif older(new, held) or #dead == 16 and live and older(dead, held) then
        said = live and 'NL' or 'ND'
      end
      -- damaged bytes that look newer would stand in the way of every write, and be read by nobody
      if byte(said) ~= 83 and not whole(head) then said = 'SX' end
    end
  end
  if byte(said) == 83 then
    -- never for longer than it was good for when it was made, by a clock that may have been ahead
    local left = milliseconds(blob, 37) - math.max(now, milliseconds(blob, 21))
    local stored
    if left > 1e14 then -- no end, or millennia
      stored = call('SET', key, blob)
    else
      stored = call('SET', key, blob, 'PX', math.max(left, 1))
    end
    if stored.err then return stored end
    held = ''
  end
  done[i] = said .. held
end
return table.concat(done)
