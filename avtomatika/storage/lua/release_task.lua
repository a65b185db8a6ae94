-- Puts a task back that was never delivered.
-- parts: tasks signals

local claim = B.claim
local facts = read_record(K.task_facts, claim.id)
local signals = {}
if is_held(facts, claim) and facts.status == 'claimed' then
  withdraw_task(claim.id, facts)
  facts.status, facts.worker, facts.confirmed = 'queued', '', false
  facts.claimed_at, facts.lease_until = nil, nil
  facts.deliveries = facts.deliveries - 1
  queue_task(claim.id, facts)
  signals[1] = {'task', facts.queue, 0, false, facts.kind, facts.signal}
end
publish(signals)
return cmsgpack.pack({false, signals})
