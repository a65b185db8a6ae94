-- Numbers that must agree, at one moment: for the audit.
-- parts: numbers jobs wakes tasks messages
-- keys: outbox events

local by_status = {}
for _, status in ipairs(B.statuses) do
  local first = 's' .. sized(status)
  by_status[#by_status + 1] = {status, redis.call('ZLEXCOUNT', K.index, '[' .. first, '(' .. first .. AFTER)}
end

local function size(key)
  local kind = redis.call('TYPE', key)['ok']
  return kind == 'none' and 0 or redis.call(kind == 'hash' and 'HLEN' or 'ZCARD', key)
end

return cmsgpack.pack({{redis.call('HGETALL', K.counts), by_status, {
  {'C', 'jobs', size(K.facts), 'jobs in the list', redis.call('ZLEXCOUNT', K.index, '[a', '(b')},
  {'U', 'wake-ups', size(K.wakes), 'wake-ups in the ready queue', size(K.later) + size(K.due) + size(K.claimed)},
  {'W', 'tasks', size(K.tasks), 'tasks with facts', size(K.task_facts)},
  {'W', 'waiting tasks', size(K.waiting), 'ages of waiting tasks', size(K.ages)},
  {'W', 'leases', size(K.leases), 'tasks held by workers', size(K.held)},
  {'O', 'messages', size(K.messages), 'messages with facts', size(K.message_facts)},
  {'O', 'messages of jobs', size(K.job_mail), 'messages that wait or are dead', size(K.mail) + size(K.dead) / 2},
  {'O', 'events', size(K.events), 'events in the outbox', size(K.outbox)},
}}, {}})
