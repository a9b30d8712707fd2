-- Add events to a job's log under the fence of the current attempt at the job or slot.
-- KEYS  1 job, 2 events
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 number of the batch within its attempt, from 1, or 0 for one that is
--       never repeated, 6 micros to hold for the slot in all with this text, or '' for no more than before, 7 those held
--       before any was added, 8 micros that the job may cost or '', 9 budget of its user's month, then type and data of
--       each event
-- Answer: 'held' | 'cancelled' (as held, and a cancel was asked for) | 'unfunded' (as held, but no more money is held)
--         | 'lost' (nothing appended); a batch that is here already is not appended again
local job_id, slot, fence, at, batch, wanted, granted, most, user_budget = unpack(ARGV, 1, 9)
local first_event = 10
local count = (#ARGV - first_event + 1) / 2

if not holds(slot, fence) then
  return 'lost'
end
local is_funded = wanted == '' or top_up(slot, wanted, granted, most, user_budget) == 'held'
append_after_unsure(job_id, slot, at, batch, count, first_event)
if #unpublished > 0 then
  redis.call('HSET', KEYS[1], field(slot, 'batch'), batch)
  publish()
end
if is_cancelled() then
  return 'cancelled'
end
return is_funded and 'held' or 'unfunded'
