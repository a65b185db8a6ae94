-- Sees whether the data is still the one that an engine knows. Steps that it was told of and that are not there any more
-- give the data a new mark, so that every other engine learns of the loss, too.
-- keys: facts epoch seq purged

-- More numbers than any engine can have been given by what was lost: so no claim is ever named like an earlier one.
local LEAP = 1000000000000

local function parts(mark)
  local origin, round = string.match(mark, '^(%S*) ?(%d*)$')
  return origin, tonumber(round) or 0
end

local mark = redis.call('GET', K.epoch)
if not mark then
  mark = B.fresh
  redis.call('SET', K.epoch, mark)
  if B.known ~= '' then
    redis.call('INCRBY', K.seq, LEAP)
  end
  return cmsgpack.pack({B.known == '' and 'same' or 'gone', mark})
end
if B.known == '' then
  return cmsgpack.pack({'same', mark})
end

local origin, round = parts(mark)
local known_origin, known_round = parts(B.known)
if origin ~= known_origin then
  return cmsgpack.pack({'gone', mark})
elseif round > known_round then
  return cmsgpack.pack({'rolled_back', mark})
end

-- A job that has been forgotten since is not lost: it ended after the step, and before what was forgotten.
local purged = tonumber(redis.call('GET', K.purged) or '-inf')
local lost = round < known_round and {'', 0, 0} or nil
for _, step in ipairs(B.steps) do
  local id, version, call, at = step[1], step[2], step[3], step[4]
  local facts = read_record(K.facts, id)
  local is_there = facts and (facts.version > version or (facts.version == version and facts.last == call))
  if not is_there and (facts or purged <= at) then
    lost = {id, version, facts and facts.version or 0}
    break
  end
end
if not lost then
  return cmsgpack.pack({'same', mark})
end
mark = origin .. ' ' .. (known_round + 1)
redis.call('SET', K.epoch, mark)
redis.call('INCRBY', K.seq, LEAP)
return cmsgpack.pack({'rolled_back', mark, lost[1], lost[2], lost[3]})
