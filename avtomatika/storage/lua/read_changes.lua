-- The changes behind a position, and where the log begins and ends.
-- keys: changes changes_floor

local found = {}
if B.after then
  for _, entry in ipairs(redis.call('XRANGE', K.changes, '(' .. B.after, '+', 'COUNT', B.limit)) do
    found[#found + 1] = {entry[1], entry[2][2]}
  end
end
local newest = redis.call('XREVRANGE', K.changes, '+', '-', 'COUNT', 1)[1]
local floor = redis.call('GET', K.changes_floor)
return cmsgpack.pack({{found, floor, newest and newest[1] or false, NOW}, {}})
