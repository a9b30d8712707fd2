-- Lead the answering of a question, or line up behind who leads.
-- KEYS  1 flight, 2 waiting
-- ARGV  1 token of who asks, 2 ms that a leader may be silent, 3 claim to hand over,
--       4 '1' when an answer that was just given is of no use, else ''
-- Answer: {'lead'} | {'follow'} (the claim is handed over) | {'answered', answer} (just now)
local leader = redis.call('GET', KEYS[1])
if leader and string.sub(leader, 1, 7) == 'answer:' then
  if ARGV[4] == '' then
    return {'answered', string.sub(leader, 8)}
  end
  leader = false
end
if leader and leader ~= ARGV[1] then
  redis.call('RPUSH', KEYS[2], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], 4 * ARGV[2])
  return {'follow'}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'lead'}
