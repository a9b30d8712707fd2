-- Add events to a job's log under the fence of its current attempt.
-- KEYS  1 job, 2 events
-- ARGV  1 job id, 2 fence, 3 at (ISO), 4 number of the batch within its attempt, from 1, or 0 for one
--       that is never repeated, then type and data of each event
-- Answer: 'held' | 'cancelled' (as held, and a cancel was asked for) | 'lost' (nothing appended);
--         a batch that is here already is not appended again
if not holds(ARGV[2]) then
  return 'lost'
end
append_after_unsure(ARGV[1], ARGV[3], tonumber(ARGV[4]), (#ARGV - 4) / 2, 5)
if #published > 0 then
  redis.call('HSET', KEYS[1], 'batch', ARGV[4])
  tell()
end
if redis.call('HEXISTS', KEYS[1], 'cancel') == 1 then
  return 'cancelled'
end
return 'held'
