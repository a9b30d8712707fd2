-- Keep what one agent of a job has come to; the last of a round makes its end due.
-- KEYS  1 job, 2 events, 3 dispatch
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 reply, 6 ms until the sweeper looks, 7 number and 8 size
--       of the batch that may be here already, then type and data of each event still to append
-- Answer: {agents of the round that are still to report, 1 if a slot was sent outside its chord else 0,
--         1 if the job is to be cancelled else 0, slots that live workers hold},
--         or nil when the fence is not the current one (nothing is changed)
local slot = ARGV[2]
if not holds(slot, ARGV[3]) then
  return nil
end
append_after_unsure(ARGV[1], slot, ARGV[4], tonumber(ARGV[7]), tonumber(ARGV[8]), 9)
redis.call('HSET', KEYS[1], field(slot, 'state'), 'done', field(slot, 'reply'), ARGV[5])
redis.call('HDEL', KEYS[1], field(slot, 'fence'), field(slot, 'lease'))
redis.call('ZREM', KEYS[3], entry(ARGV[1], slot))
local now, last = now_ms(), redis.call('HGET', KEYS[1], field(slot, 'next'))
local left = redis.call('HINCRBY', KEYS[1], field(last, 'left'), -1)
if left == 0 then
  redis.call('HSET', KEYS[1], field(last, 'queued'), now)
  redis.call('ZADD', KEYS[3], now + ARGV[6], entry(ARGV[1], last))
end
tell()
local flags = redis.call('HMGET', KEYS[1], 'loose', 'cancel')
return {left, flags[1] and 1 or 0, flags[2] and 1 or 0, count_running(now)}
