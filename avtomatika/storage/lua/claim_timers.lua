-- Takes timers that are due; each is due again when the lease ends.
-- parts: signals
-- keys: timers

local taken = redis.call('ZRANGEBYSCORE', K.timers, '-inf', NOW, 'LIMIT', 0, B.limit)
for _, member in ipairs(taken) do
  redis.call('ZADD', K.timers, NOW + B.lease, member)
end

local signals = {}
if #taken > 0 then
  signals[1] = signal('timer', '', NOW + B.lease)
end
publish(signals)
return cmsgpack.pack({taken, signals})
