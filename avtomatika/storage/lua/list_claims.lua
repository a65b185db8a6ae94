-- The tasks that a worker holds, with their attempts.
-- parts: tasks

local first = sized(B.worker)
local found = {}
-- Ids are text, in which the byte 255 does not occur.
for _, member in ipairs(redis.call('ZRANGEBYLEX', K.held, '[' .. first, '(' .. first .. '\255')) do
  local id = string.sub(member, #first + 1)
  found[#found + 1] = {id, read_record(K.task_facts, id).attempt}
end
return cmsgpack.pack({found, {}})
