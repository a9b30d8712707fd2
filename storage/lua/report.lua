-- Keep one agent's reply and add what it used to the job's account; the last reply of a round puts its end into line.
-- KEYS  1 job, 2 events
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 reply, then what it used: 6 input, 7 cached input and 8 output tokens,
--       9 micros, 10 number and 11 size of the batch that may be here already, then type and data of each event still
--       to append
-- Answer: {agents of the round that are still to report, how many have to be woken by messages,
--         1 if the job is to be cancelled else 0, slots that live workers hold},
--         or nil when the fence is not the current one (nothing is changed)
local job_id, slot, fence, at, reply, input, cached, output, micros, batch, batch_size = unpack(ARGV, 1, 11)
local first_event = 12

if not holds(slot, fence) then
  return nil
end
-- What can fail comes first.
add_used(input, cached, output, micros)
append_after_unsure(job_id, slot, at, batch, batch_size, first_event)
redis.call('HSET', KEYS[1], field(slot, 'state'), 'done', field(slot, 'reply'), reply)
redis.call('HDEL', KEYS[1], field(slot, 'fence'), field(slot, 'lease'))
redis.call('ZREM', WATCH, unit_of(job_id, slot))
stop_running(job_id, slot, false)
local last, unwoken = redis.call('HGET', KEYS[1], field(slot, 'next')), 0
local left = redis.call('HINCRBY', KEYS[1], field(last, 'left'), -1)
if left == 0 then
  enter_begun(job_id, last, '')
  -- The thread that brought this reply takes its next job itself, most likely this one.
  unwoken = wake(1)
end
publish()
return {left, unwoken, is_cancelled() and 1 or 0, count_running(now_ms())}
