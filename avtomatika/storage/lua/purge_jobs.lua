-- Forgets jobs that ended before a moment, with all that they left. Which ones is known only here, so their keys are
-- made here too.
-- parts: numbers jobs wakes tasks messages records workers
-- keys: counters counter_ends dedupe dedupe_ends timers progress purged

prune(K.worker_ends, 1000, forget_worker)
prune_records(K.dedupe, K.dedupe_ends, 1000)
prune_records(K.counters, K.counter_ends, 1000)
prune(K.record_ends, 1000, forget_kept)

local purged = redis.call('ZRANGEBYSCORE', K.ended, '-inf', '(' .. exactly(B.before), 'LIMIT', 0, B.limit)
for _, id in ipairs(purged) do
  local facts = read_record(K.facts, id)
  local key = B.job_prefix .. id
  for _, task_id in ipairs(redis.call('ZRANGE', key .. ':tasks', 0, -1)) do
    withdraw_task(task_id, read_record(K.task_facts, task_id))
    redis.call('HDEL', K.tasks, task_id)
    redis.call('HDEL', K.task_facts, task_id)
  end
  for _, member in ipairs(redis.call('HVALS', key .. ':timers')) do
    redis.call('ZREM', K.timers, member)
  end
  for _, message_id in ipairs(mail_of(id)) do
    forget_message(message_id, read_record(K.message_facts, message_id))
  end
  forget_wake(id, read_record(K.wakes, id))
  clear_index(id, facts)
  count(facts.status, -1)
  count('created', -1)
  redis.call('HDEL', K.progress, id)
  redis.call('HDEL', K.facts, id)
  redis.call('ZREM', K.ended, id)
  redis.call('DEL', key, key .. ':tasks', key .. ':open', key .. ':timers')
end
-- Up to when jobs may be missing because they were forgotten.
if #purged > 0 and B.before > tonumber(redis.call('GET', K.purged) or '-inf') then
  redis.call('SET', K.purged, exactly(B.before))
end
return cmsgpack.pack({purged, {}})
