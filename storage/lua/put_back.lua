-- Put a job, or one slot of it, back into its user's line, for the provider's budget lets nobody call the model now. The
-- attempt does not count, and nothing is taken from its user's share. With `is_unbegun` nothing of it was published; the
-- time of a job of which nothing ever was has not begun.
-- KEYS  1 job, 2 events
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 model, 6 ms until it may be called, 7 '1' if it is unbegun, 8 data of
--       job.retrying, then what this attempt used: 9 input, 10 cached input and 11 output tokens, 12 micros, 13 number
--       and 14 size of the batch that may be here already, then type and data of each event still to append
-- Answer: 1, or 0 when the fence is not the current one (nothing is changed)
local job_id, slot, fence, at, model, wait_ms, is_unbegun, retrying, input, cached, output, micros = unpack(ARGV, 1, 12)
local batch, batch_size, first_event = ARGV[13], ARGV[14], 15

if not holds(slot, fence) then
  return 0
end
-- What can fail comes first.
if is_unbegun ~= '1' then
  add_used(input, cached, output, micros)
  redis.call('HINCRBY', KEYS[1], field(slot, 'paid'), micros)
  append_after_unsure(job_id, slot, at, batch, batch_size, first_event)
  append_event(job_id, 'job.retrying', at, retrying)
end
local line = line_of_job()
set_share(line.class, line.user, share_of(line.class, line.user) - 1 / line.weight)
redis.call('HSET', CLOSED, model, math.max(now_ms() + wait_ms, tonumber(redis.call('HGET', CLOSED, model) or 0)))
give_back(job_id, slot, true)
enter_begun(job_id, slot, model)
local shown = redis.call('HMGET', KEYS[1], 'attempt', 'seq')
if slot == '' and tonumber(shown[1]) == 0 and tonumber(shown[2]) == 1 then
  undo_start(job_id)
else
  watch_waiting(job_id, slot)
end
publish()
return 1
