-- Records of a space behind a key, by key. Those whose time has run out are forgotten on the way.
-- parts: records

local found, after = {}, '(' .. B.first .. B.after
-- Keys are text, in which the byte 255 does not occur.
local bound = '(' .. B.first .. '\255'
local names
repeat
  local missing = B.limit - #found
  names = missing > 0 and redis.call('ZRANGEBYLEX', K.record_names, after, bound, 'LIMIT', 0, missing) or {}
  for _, name in ipairs(names) do
    if find_kept(name) then
      found[#found + 1] = {string.sub(name, #B.first + 1), redis.call('HGET', K.records, name)}
    else
      forget_kept(name)
    end
    after = '(' .. name
  end
until #names == 0
return cmsgpack.pack({found, {}})
