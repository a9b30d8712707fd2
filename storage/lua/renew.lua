-- Keep a lease alive.
-- KEYS  1 job, 2 events (unused), 3 dispatch
-- ARGV  1 job id, 2 slot, 3 fence, 4 lease ms
-- Answer: 'held' | 'cancelled' (held, and a cancel was asked for) | 'lost'
if not holds(ARGV[2], ARGV[3]) then
  return 'lost'
end
local lease = now_ms() + ARGV[4]
redis.call('HSET', KEYS[1], field(ARGV[2], 'lease'), lease)
redis.call('ZADD', KEYS[3], lease, entry(ARGV[1], ARGV[2]))
if redis.call('HEXISTS', KEYS[1], 'cancel') == 1 then
  return 'cancelled'
end
return 'held'
