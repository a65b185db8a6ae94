-- The next of the numbers that only grow. They are fetched in blocks, of which the rest is dropped.
-- keys: seq

local SEQ_BLOCK = 4 * #ARGV
local seq, seq_end = 0, 0
local function next_seq()
  if seq == seq_end then
    seq_end = redis.call('INCRBY', K.seq, SEQ_BLOCK)
    seq = seq_end - SEQ_BLOCK
  end
  seq = seq + 1
  return seq
end
