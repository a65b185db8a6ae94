-- Writes a record, unless its version is not the one expected.
-- parts: records

local written = is_expected(B.write)
if written then
  put_kept(B.write)
end
return cmsgpack.pack({written, {}})
