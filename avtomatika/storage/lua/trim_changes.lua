-- Forgets changes that are too old or too many, and remembers up to where.
-- keys: changes changes_floor

local oldest = string.format('%d-0', math.floor((NOW - B.age) * 1000))
local gone = redis.call('XTRIM', K.changes, 'MINID', oldest) + redis.call('XTRIM', K.changes, 'MAXLEN', B.keep)
if gone > 0 then
  local first = redis.call('XRANGE', K.changes, '-', '+', 'COUNT', 1)[1]
  redis.call('SET', K.changes_floor, first and first[1] or oldest)
  if not first then
    redis.call('DEL', K.changes)
  end
end
return cmsgpack.pack({false, {}})
