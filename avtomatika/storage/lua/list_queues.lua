-- The queues in which tasks wait: what the first task needs, how many there are, since when the oldest waits.
-- parts: tasks

local found = {}
local head = redis.call('ZRANGE', K.waiting, 0, 0)[1]
while head do
  local name = string.sub(head, 5, 4 + struct.unpack('>I4', head))
  local first = sized(name)
  local low, high = '[' .. first, '(' .. first .. AFTER
  local facts = read_record(K.task_facts, string.sub(head, #first + 25))
  local oldest = redis.call('ZRANGEBYLEX', K.ages, low, high, 'LIMIT', 0, 1)[1]
  local oldest_facts = read_record(K.task_facts, string.sub(oldest, #first + 9))
  found[#found + 1] = {name, facts.kind, redis.call('ZLEXCOUNT', K.waiting, low, high), oldest_facts.created}
  head = redis.call('ZRANGEBYLEX', K.waiting, '[' .. first .. AFTER, '+', 'LIMIT', 0, 1)[1]
end
return cmsgpack.pack({found, {}})
