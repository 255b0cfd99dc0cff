-- Put one record in the place of another, if that one is there. Repeating a call is harmless: the second one finds what
-- the first one left, and says so.
--
-- KEYS   the key
-- ARGV   the bytes that are expected, '' for nothing; the record that is to stand there, '' for nothing; milliseconds until
--        the key expires, '' for never; milliseconds of the lease, '' for a record that is no claim, or one no more; how
--        many of those who listen for the ends of claims are the caller's
-- reply  whether that was done (1 or 0); the bytes that stand there now, '' for nothing; the server's milliseconds
--
-- A lease is judged by the clock that gave it. So the record of a claim has the instant of its end behind it, in 8 bytes,
-- big-endian. Where one may have ended, the key is published on tc1:w:<namespace>, for those who wait; unless nobody listens
-- there but the caller, who knows.

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local key, expected, new, ttl, lease = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local current = redis.pcall('GET', key)
if type(current) == 'table' then return current end -- an error: a value of another type
current = current or ''
if current ~= expected then return {0, current, now} end

if new == '' then
  local said = redis.pcall('DEL', key)
  if type(said) == 'table' then return said end
else
  if lease ~= '' then
    local ends, stamp = now + tonumber(lease), {}
    for i = 8, 1, -1 do
      stamp[i] = string.char(ends % 256)
      ends = math.floor(ends / 256)
    end
    new = new .. table.concat(stamp)
  end
  local said = ttl == '' and redis.pcall('SET', key, new) or redis.pcall('SET', key, new, 'PX', ttl)
  if said.err then return said end
end
if lease == '' and current ~= '' then
  local prefix, namespace = string.match(key, '^([^:]*):[^:]*:([^:]*):')
  if prefix then
    local channel = prefix .. ':w:' .. namespace
    -- a user who may not ask, or publish, still has claims; those who wait look now and then
    local listening = redis.pcall('PUBSUB', 'NUMSUB', channel)
    if not listening[2] or listening[2] > tonumber(ARGV[5]) then redis.pcall('PUBLISH', channel, key) end
  end
end
return {1, new, now}
