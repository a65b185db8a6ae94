-- Ids of jobs, newest first, out of a stretch of one list; and where the next stretch begins, if there is one.
-- keys: index facts

local members = redis.call('ZREVRANGEBYLEX', K.index, B.high, B.low, 'LIMIT', 0, B.stretch)
local found = {}
for _, member in ipairs(members) do
  local id = string.sub(member, B.skip)
  local facts = read_record(K.facts, id)
  if (not B.client or facts.client == B.client)
    and (not B.status or facts.status == B.status)
    and (not B.blueprint or facts.blueprint == B.blueprint) then
    found[#found + 1] = id
  end
end
local last = #members == B.stretch and members[#members]
return cmsgpack.pack({{found, last}, {}})
