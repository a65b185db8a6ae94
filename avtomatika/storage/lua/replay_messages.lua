-- Makes dead letters due at once; answers with the ids of those that were dead letters.
-- parts: numbers jobs messages signals

local replayed, signals, told = {}, {}, {}
for _, id in ipairs(B.ids) do
  local message = read_record(K.message_facts, id)
  if message and message.buried then
    withdraw_message(id, message)
    message.buried, message.due, message.attempts = nil, NOW, 0
    queue_message(id, message)
    local facts = read_record(K.facts, message.job)
    facts.dead = facts.dead - 1
    write_record(K.facts, message.job, facts)
    settle(message.job, facts)
    replayed[#replayed + 1] = id
    if not told[message.topic] then
      told[message.topic] = true
      signals[#signals + 1] = signal('message', message.topic, NOW)
    end
  end
end
publish(signals)
return cmsgpack.pack({replayed, signals})
