-- Forgets messages that their receivers have.
-- parts: numbers jobs messages

for _, id in ipairs(B.ids) do
  local message = read_record(K.message_facts, id)
  if message then
    forget_message(id, message)
    local facts = read_record(K.facts, message.job)
    facts.delivered = (facts.delivered or 0) + 1
    if message.buried then
      facts.dead = facts.dead - 1
    end
    write_record(K.facts, message.job, facts)
    settle(message.job, facts)
  end
end
return cmsgpack.pack({false, {}})
