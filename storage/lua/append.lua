-- Add events to a job's log under the fence of its current attempt.
-- KEYS  1 job, 2 events
-- ARGV  1 job id, 2 fence, 3 at (ISO), then type and data of each event
-- Answer: 'held' | 'cancelled' (appended, and a cancel was asked for) | 'lost' (nothing appended)
if not holds(ARGV[2]) then
  return 'lost'
end
append_pairs(ARGV[1], ARGV[3], 4)
if #published > 0 then
  tell()
end
if redis.call('HEXISTS', KEYS[1], 'cancel') == 1 then
  return 'cancelled'
end
return 'held'
