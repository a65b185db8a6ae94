-- Forgets events that are safely elsewhere.
-- parts: jobs
-- keys: outbox events

for _, event in ipairs(B.events) do
  local event_id, job_id = event[1], event[2]
  if redis.call('ZREM', K.outbox, event_id) == 1 then
    redis.call('HDEL', K.events, event_id)
    local facts = read_record(K.facts, job_id)
    facts.acked = facts.acked + 1
    write_record(K.facts, job_id, facts)
    settle(job_id, facts)
  end
end
return cmsgpack.pack({false, {}})
