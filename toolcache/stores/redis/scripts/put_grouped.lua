-- Store records in a group, each unless the same or a newer one of its name is there. Repeating or delaying a call is harmless.
--
-- KEYS   the group, a hash: names and records
-- ARGV   bytes of the largest record; then two for each record: its name, and itself
-- reply  how many were stored
--
-- Offsets are those of a blob's header, as in put.lua. A record whose life has ended by the server's own clock is left out; the
-- group expires when the last of its records would.

local byte, sub, call = string.byte, string.sub, redis.pcall -- as in put.lua
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local function milliseconds(blob, at)
  local a, b, c, d, e, f, g, h = byte(blob, at, at + 7)
  return ((((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f) * 256 + g) * 256 + h
end

local function newer(blob, held) -- bytewise, as in put.lua; whatever is no record of this name is older
  if #held < 74 or sub(held, 1, 3) ~= 'TC\1' or sub(held, 49, 64) ~= sub(blob, 49, 64) then return true end
  for i = 5, 20 do
    local x, y = byte(blob, i), byte(held, i)
    if x ~= y then return x > y end
  end
  return false
end

local group, stored, longest = KEYS[1], 0, 0
for i = 2, #ARGV, 2 do
  local name, blob = ARGV[i], ARGV[i + 1]
  local left = math.min(milliseconds(blob, 37) - math.max(now, milliseconds(blob, 21)), 1e14)
  if left > 0 then
    local size = call('HSTRLEN', group, name) -- what is no record may be of any size
    if type(size) == 'table' then return size end
    local held = size > 0 and size <= tonumber(ARGV[1]) and call('HGET', group, name) or ''
    if type(held) == 'table' then return held end
    if newer(blob, held) then
      local said = call('HSET', group, name, blob)
      if type(said) == 'table' then return said end
      stored = stored + 1
    end
    longest = math.max(longest, left)
  end
end
if longest > 0 then
  local left = call('PTTL', group)
  if type(left) == 'table' then return left end
  if left < longest then
    local said = call('PEXPIRE', group, longest)
    if type(said) == 'table' then return said end
  end
end
return stored
