-- Keep one agent's reply and add what it used to the job's account; the last reply of a round makes its end due.
-- KEYS  1 job, 2 events, 3 dispatch
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 reply, then what it used: 6 input, 7 cached input and 8 output tokens,
--       9 micros, 10 ms until the sweeper looks, 11 number and 12 size of the batch that may be here already, then type
--       and data of each event still to append
-- Answer: {agents of the round that are still to report, 1 if a slot was sent outside its chord else 0,
--         1 if the job is to be cancelled else 0, slots that live workers hold},
--         or nil when the fence is not the current one (nothing is changed)
local job_id, slot, fence, at, reply, input, cached, output, micros, look_in_ms, batch, batch_size = unpack(ARGV, 1, 12)
local first_event, dispatch = 13, KEYS[3]

if not holds(slot, fence) then
  return nil
end
-- What can fail comes first.
add_used(input, cached, output, micros)
append_after_unsure(job_id, slot, at, batch, batch_size, first_event)
redis.call('HSET', KEYS[1], field(slot, 'state'), 'done', field(slot, 'reply'), reply)
redis.call('HDEL', KEYS[1], field(slot, 'fence'), field(slot, 'lease'))
redis.call('ZREM', dispatch, entry(job_id, slot))
local now, last = now_ms(), redis.call('HGET', KEYS[1], field(slot, 'next'))
local left = redis.call('HINCRBY', KEYS[1], field(last, 'left'), -1)
if left == 0 then
  redis.call('HSET', KEYS[1], field(last, 'queued'), now)
  redis.call('ZADD', dispatch, now + look_in_ms, entry(job_id, last))
end
publish()
local outside_chord = redis.call('HEXISTS', KEYS[1], 'outside_chord')
return {left, outside_chord, is_cancelled() and 1 or 0, count_running(now)}
