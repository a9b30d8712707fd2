-- Give a job, or one slot of it, back for a while; the attempt does not count. What it used goes to the job's account.
-- KEYS  1 job, 2 events
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 ms to wait, 6 data of job.retrying, then what this attempt used:
--       7 input, 8 cached input and 9 output tokens, 10 micros, 11 number and 12 size of the batch that may be here
--       already, then type and data of each event still to append
-- Answer: 1, or 0 when the fence is not the current one (nothing is changed)
local job_id, slot, fence, at, wait_ms, retrying, input, cached, output, micros, batch, batch_size = unpack(ARGV, 1, 12)
local first_event = 13

if not holds(slot, fence) then
  return 0
end
-- What can fail comes first.
add_used(input, cached, output, micros)
redis.call('HINCRBY', KEYS[1], field(slot, 'paid'), micros)
append_after_unsure(job_id, slot, at, batch, batch_size, first_event)
append_event(job_id, 'job.retrying', at, retrying)
give_back(job_id, slot, true)
watch_waiting(job_id, slot)
redis.call('ZADD', DEFERRED, now_ms() + wait_ms, unit_of(job_id, slot))
publish()
return 1
