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

-- Lists a job as one that may be forgotten when it has ended and all of its history and messages have left the outbox.
-- Dead letters do not hold it up, but make it last as long as if it had ended when the last one was buried.
local function settle(id, facts)
  local waiting = (facts.sent or 0) - (facts.delivered or 0) - (facts.dead or 0)
  if facts.ended and facts.rows == facts.acked and waiting == 0 then
    local ended = facts.ended
    if (facts.dead or 0) > 0 then
      ended = math.max(ended, facts.buried)
    end
    redis.call('ZADD', K.ended, ended, id)
  else
    redis.call('ZREM', K.ended, id)
  end
end
