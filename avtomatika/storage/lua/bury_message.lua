-- Makes a message a dead letter.
-- parts: numbers jobs messages

local message = read_record(K.message_facts, B.id)
if message and not message.buried then
  withdraw_message(B.id, message)
  message.buried, message.error = NOW, B.error
  local all, of_topic = dead_members(B.id, message)
  redis.call('ZADD', K.dead, 0, all, 0, of_topic)
  write_record(K.message_facts, B.id, message)
  local facts = read_record(K.facts, message.job)
  facts.dead, facts.buried = (facts.dead or 0) + 1, math.max(facts.buried or NOW, NOW)
  write_record(K.facts, message.job, facts)
  settle(message.job, facts)
end
return cmsgpack.pack({false, {}})
