-- Give a job, or one slot of it, back for a while; the attempt does not count. What it used goes to the job's account.
-- KEYS  1 job, 2 events, 3 dispatch
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 ms to wait, 6 data of job.retrying, then what this attempt used:
--       7 input, 8 cached input and 9 output tokens, 10 micros, 11 number and 12 size of the batch that may be here
--       already, then type and data of each event still to append
-- Answer: 1, or 0 when the fence is not the current one (nothing is changed)
local job_id, slot, fence, at, wait_ms, retrying, input, cached, output, micros, batch, batch_size = unpack(ARGV, 1, 12)
local first_event, dispatch = 13, KEYS[3]

if not holds(slot, fence) then
  return 0
end
-- What can fail comes first.
add_used(input, cached, output, micros)
append_after_unsure(job_id, slot, at, batch, batch_size, first_event)
append_event(job_id, 'job.retrying', at, retrying)
give_back(job_id, slot, dispatch, wait_ms)
if slot ~= '' then
  redis.call('HSET', KEYS[1], 'outside_chord', 1)
end
publish()
return 1
