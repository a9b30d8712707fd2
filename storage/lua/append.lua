-- Add events to a job's log under the fence of the current attempt at the job or slot.
-- KEYS  1 job, 2 events
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 number of the batch within its attempt, from 1, or 0 for one that is
--       never repeated, then type and data of each event
-- Answer: 'held' | 'cancelled' (as held, and a cancel was asked for) | 'lost' (nothing appended);
--         a batch that is here already is not appended again
local job_id, slot, fence, at, batch = unpack(ARGV, 1, 5)
local first_event = 6
local count = (#ARGV - first_event + 1) / 2

if not holds(slot, fence) then
  return 'lost'
end
append_after_unsure(job_id, slot, at, batch, count, first_event)
if #unpublished > 0 then
  redis.call('HSET', KEYS[1], field(slot, 'batch'), batch)
  publish()
end
return is_cancelled() and 'cancelled' or 'held'
