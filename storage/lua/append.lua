-- Add events to a job's log under the fence of a slot's current attempt.
-- KEYS  1 job, 2 events
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 number of the batch within its attempt, from 1, or 0
--       for one that is never repeated, then type and data of each event
-- Answer: 'held' | 'cancelled' (as held, and a cancel was asked for) | 'lost' (nothing appended);
--         a batch that is here already is not appended again
if not holds(ARGV[2], ARGV[3]) then
  return 'lost'
end
append_after_unsure(ARGV[1], ARGV[2], ARGV[4], tonumber(ARGV[5]), (#ARGV - 5) / 2, 6)
if #published > 0 then
  redis.call('HSET', KEYS[1], field(ARGV[2], 'batch'), ARGV[5])
  tell()
end
if redis.call('HEXISTS', KEYS[1], 'cancel') == 1 then
  return 'cancelled'
end
return 'held'
