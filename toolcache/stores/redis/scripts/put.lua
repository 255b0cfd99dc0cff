-- Store blobs, each only if it is newer than what is there. Repeating or delaying a call is harmless.
--
-- KEYS   the keys, a key may come twice
-- ARGV   three for each key: blob, lifetime in ms ('0': none), '1' to store only where no live value is (else '')
-- reply  one string for each key: what was done, and the first 44 bytes of what was there before
--        S stored, A the same version was there, N a newer one or a live value was there, F not a string: left alone
--
-- Offsets are those of a blob's header (toolcache/blob.py; change both together): magic and format 1..3, flags 4,
-- version 5..20, gone 37..44, all big-endian.

local function lt(a, b) -- bytewise; Lua's own < follows the server's locale
  for i = 1, #a do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return false
end

local now -- 8 bytes, asked for once and only if a write needs it
local function present()
  if not now then
    local t = redis.call('TIME')
    local ms, bytes = t[1] * 1000 + math.floor(t[2] / 1000), {}
    for i = 8, 1, -1 do
      bytes[i] = string.char(ms % 256)
      ms = math.floor(ms / 256)
    end
    now = table.concat(bytes)
  end
  return now
end

local function verdict(head, blob, once)
  if #head < 20 or string.sub(head, 1, 3) ~= 'TC\1' then return 'S' end -- nothing, or no blob: absent
  local held, new = string.sub(head, 5, 20), string.sub(blob, 5, 20)
  if held == new then return 'A' end
  if lt(new, held) then return 'N' end
  local value = string.byte(head, 4) % 2 == 0 -- bit 0: tombstone
  if once == '1' and value and #head == 44 and lt(present(), string.sub(head, 37, 44)) then return 'N' end
  return 'S'
end

local done = {}
for i, key in ipairs(KEYS) do
  local blob, life, once = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local head = redis.pcall('GETRANGE', key, 0, 43)
  if type(head) == 'table' then
    if not string.find(head.err, 'WRONGTYPE', 1, true) then return head end
    done[i] = 'F'
  else
    local what = verdict(head, blob, once)
    if what == 'S' then
      -- pcall and return: the reply keeps the error's own code (OOM, READONLY, ...) on every server
      local said = life == '0' and redis.pcall('SET', key, blob) or redis.pcall('SET', key, blob, 'PX', life)
      if said.err then return said end
    end
    done[i] = what .. head
  end
end
return done
