-- Take in a job that is answered already: its whole log, its end and the entry for its record at once.
-- KEYS  1 job, 2 events, 3 records, 4 idempotency (ignored without a fingerprint)
-- ARGV  1 job id, 2 spec, 3 at (ISO), 4 outcome, 5 fingerprint or '', 6 idempotency ttl s,
--       7 when it began and 8 when it ended (ms, Unix), then type and data of each event
-- Answer: {'accepted'} | {'repeat', job id} | {'conflict'}
local verdict = check_repeat(KEYS[4], ARGV[5])
if verdict then
  return verdict
end
redis.call('HSET', KEYS[1], 'spec', ARGV[2], 'status', 'completed', 'attempt', 0, 'reserved', 0,
  'accepted', ARGV[7], 'started', ARGV[7], 'finished', ARGV[8], 'outcome', ARGV[4])
append_pairs(ARGV[1], ARGV[3], 9)
redis.call('XADD', KEYS[3], '*', 'id', ARGV[1])
remember_repeat(KEYS[4], ARGV[5], ARGV[1], ARGV[6])
return {'accepted'}
