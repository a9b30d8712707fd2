-- End a job: last events, outcome, settlement, terminal event, entry for the record. Exactly once.
-- KEYS  1 job, 2 events, 3 active, 4 spend, 5 dispatch, 6 records, 7 conversation
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 status, 6 outcome, 7 cost in micros, 8 terminal type,
--       9 terminal data, 10 conversation turn or '', 11 turns kept, 12 conversation ttl s,
--       13 number and 14 size of the batch that may be here already (0, 0: there is none),
--       then type and data of each event still to append, that batch first
-- Answer: 1, or 0 when the fence is not the current one (nothing is changed)
if not holds(ARGV[2], ARGV[3]) then
  return 0
end
append_after_unsure(ARGV[1], ARGV[2], ARGV[4], tonumber(ARGV[13]), tonumber(ARGV[14]), 15)
append_event(ARGV[1], ARGV[8], ARGV[4], ARGV[9])
close_slots(ARGV[1], 5)
local reserved = redis.call('HGET', KEYS[1], 'reserved')
redis.call('HSET', KEYS[1], 'status', ARGV[5], 'outcome', ARGV[6], 'finished', now_ms())
redis.call('HDEL', KEYS[1], 'fence', 'lease', 'cancel')
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HINCRBY', KEYS[4], 'reserved', 0 - tonumber(reserved))
redis.call('HINCRBY', KEYS[4], 'spent', ARGV[7])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('XADD', KEYS[6], '*', 'id', ARGV[1])
if ARGV[10] ~= '' then
  redis.call('RPUSH', KEYS[7], ARGV[10])
  redis.call('LTRIM', KEYS[7], -tonumber(ARGV[11]), -1)
  redis.call('EXPIRE', KEYS[7], ARGV[12])
end
tell()
return 1
