-- What every script begins with: its one argument, the moment, and records kept in hashes.
-- A record is a table packed as bytes. Its numbers are exact: they never become text.

local B = cmsgpack.unpack(ARGV[1])

-- Without a moment from the caller the server's clock counts, so that all engines measure by one clock.
local NOW = B.now
if not NOW then
  local time = redis.call('TIME')
  NOW = time[1] + time[2] / 1000000
end

local function exactly(number)
  return string.format('%.17g', number)
end

local function read_record(key, id)
  local packed = redis.call('HGET', key, id)
  return packed and cmsgpack.unpack(packed) or nil
end

local function write_record(key, id, record)
  redis.call('HSET', key, id, cmsgpack.pack(record))
end

local function each(list)
  return ipairs(list or {})
end

-- A name in front of other things in one string: no name is then the beginning of another.
local function sized(name)
  return struct.pack('>I4', #name) .. name
end

-- Forgets what has run out; a few at a time, so that no call takes long.
local function prune(ends, limit, forget)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', NOW, 'LIMIT', 0, limit)) do
    forget(id)
  end
end

-- Does so where there is nothing but a record and its end.
local function prune_records(records, ends, limit)
  prune(ends, limit, function(id)
    redis.call('ZREM', ends, id)
    redis.call('HDEL', records, id)
  end)
end
