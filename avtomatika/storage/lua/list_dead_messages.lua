-- Dead letters, last buried first.
-- parts: numbers messages

local found = {}
for _, member in ipairs(redis.call('ZREVRANGEBYLEX', K.dead, B.high, B.low, 'LIMIT', 0, B.limit)) do
  found[#found + 1] = string.sub(member, B.skip)
end
return cmsgpack.pack({read_messages(found), {}})
