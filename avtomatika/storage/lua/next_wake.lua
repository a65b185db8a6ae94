-- The earliest moment at which there is something to do, as text: a claim that can be had already does not count.
-- parts: numbers wakes
-- keys: timers leases

local earliest
local function consider(found)
  local at = tonumber(found[2])
  if at and (not earliest or at < earliest) then
    earliest = at
  end
end

consider(redis.call('ZRANGEBYSCORE', K.later, '(' .. exactly(NOW), '+inf', 'WITHSCORES', 'LIMIT', 0, 1))
consider(redis.call('ZRANGEBYSCORE', K.claimed, '(' .. exactly(NOW), '+inf', 'WITHSCORES', 'LIMIT', 0, 1))
consider(redis.call('ZRANGE', K.timers, 0, 0, 'WITHSCORES'))
consider(redis.call('ZRANGE', K.leases, 0, 0, 'WITHSCORES'))
return cmsgpack.pack({earliest or false, {}})
