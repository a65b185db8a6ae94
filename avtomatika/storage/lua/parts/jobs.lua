-- What is known of a job beside its fields, and where it is listed.
-- keys: facts counts index ended

-- One set holds three lists, newest last: all jobs, those of a client, those of a status.
local function write_index(id, facts)
  redis.call('ZADD', K.index,
    0, 'a' .. facts.place .. id,
    0, 'c' .. sized(facts.client) .. facts.place .. id,
    0, 's' .. sized(facts.status) .. facts.place .. id)
end

local function clear_index(id, facts)
  redis.call('ZREM', K.index,
    'a' .. facts.place .. id,
    'c' .. sized(facts.client) .. facts.place .. id,
    's' .. sized(facts.status) .. facts.place .. id)
end

local function count(name, change)
  if redis.call('HINCRBY', K.counts, name, change) == 0 then
    redis.call('HDEL', K.counts, name)
  end
end

-- Lists a job as one that may be forgotten when it has ended and all of its history has left the outbox.
local function settle(id, facts)
  if facts.ended and facts.rows == facts.acked then
    redis.call('ZADD', K.ended, facts.ended, id)
  else
    redis.call('ZREM', K.ended, id)
  end
end
