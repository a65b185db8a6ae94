-- When the next message of some topics is due, or nothing.
-- parts: numbers messages

local earliest = false
for _, topic in ipairs(B.topics) do
  local first = sized(topic)
  local member = redis.call('ZRANGEBYLEX', K.mail, '[' .. first, '(' .. first .. '\255', 'LIMIT', 0, 1)[1]
  if member then
    local at = struct.unpack('>d', string.sub(member, #first + 1, #first + 8))
    earliest = earliest and math.min(earliest, at) or at
  end
end
return cmsgpack.pack({earliest, {}})
