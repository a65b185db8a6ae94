-- Moves the ends of claims; answers with the places, in the list, of those that do not hold.
-- parts: tasks signals

local lost, earliest = {}, nil
for place, claim in ipairs(B.claims) do
  local facts = read_record(K.task_facts, claim.id)
  local ends
  if is_held(facts, claim) then
    local claimed_at = facts.claimed_at or NOW
    local limit = claimed_at + facts.timeout
    -- Queued again: the worker may go on with the attempt that it was given, within the time it was given.
    local may_go_on = facts.status == 'queued' and facts.deliveries > 0 and limit > NOW
    if facts.status == 'claimed' or may_go_on then
      ends = math.min(NOW + B.lease, limit)
      withdraw_task(claim.id, facts)
      facts.status, facts.claimed_at, facts.lease_until, facts.confirmed = 'claimed', claimed_at, ends, true
      hold_task(claim.id, facts)
      earliest = math.min(earliest or ends, ends)
    end
  end
  if not ends then
    lost[#lost + 1] = place
  end
end

local signals = {}
if earliest then
  signals[1] = signal('timer', '', earliest)
end
publish(signals)
return cmsgpack.pack({lost, signals})
