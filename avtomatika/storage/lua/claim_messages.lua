-- Takes due messages of some topics; each is due again when the lease ends.
-- parts: numbers messages

local due = {}
for _, topic in ipairs(B.limit > 0 and B.topics or {}) do
  local first = sized(topic)
  for _, member in ipairs(
    redis.call('ZRANGEBYLEX', K.mail, '[' .. first, due_until(topic, NOW), 'LIMIT', 0, B.limit)
  ) do
    local id = string.sub(member, #first + 17)
    due[#due + 1] = {id, read_record(K.message_facts, id)}
  end
end
table.sort(due, function(one, other)
  if one[2].due ~= other[2].due then
    return one[2].due < other[2].due
  end
  return one[2].seq < other[2].seq
end)

local taken = {}
for place = 1, math.min(#due, B.limit) do
  local id, message = due[place][1], due[place][2]
  withdraw_message(id, message)
  message.due, message.attempts = NOW + B.lease, message.attempts + 1
  queue_message(id, message)
  taken[place] = id
end
return cmsgpack.pack({read_messages(taken), {}})
