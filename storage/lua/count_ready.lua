-- Count the units that may start now.
-- KEYS  none
-- ARGV  1 most units
-- Answer: for each kind that has some: the kind, how many
local left, now, counts = tonumber(ARGV[1]), now_ms(), {}

for _, lane in ipairs(redis.call('HKEYS', WAITING)) do
  local kind, model = string.match(lane, '^%a:(%a+):(.*)$')
  local is_closed = model ~= '' and tonumber(redis.call('HGET', CLOSED, model) or 0) > now
  local is_begun_team = kind == 'agent' or kind == 'finish'
  if not is_closed and (is_begun_team or not is_draining()) then
    for _, user in ipairs(redis.call('ZRANGE', LINES .. 'ready:' .. lane, 0, left - 1)) do
      if left <= 0 then
        break
      end
      for _, key in ipairs(redis.call('ZRANGE', keys_key(lane, user), 0, left - 1)) do
        local count = math.min(left, redis.call('ZCARD', units_key(lane, user, key)))
        counts[kind], left = (counts[kind] or 0) + count, left - count
      end
    end
  end
  if left <= 0 then
    break
  end
end
local answer = {}
for kind, count in pairs(counts) do
  answer[#answer + 1] = kind
  answer[#answer + 1] = count
end
return answer
