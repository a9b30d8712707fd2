-- Add what a process measured to what all have measured: each batch once, however often it is sent.
--
-- KEYS: the process's last batch; the counts since ever.
-- ARGV: the batch's number; seconds that the first key lives; then of each window's slots their
-- name, length and life in seconds, with a dash behind the last; then field and amount by turns.
-- Answer: 1, or 0 where the batch had been added before.
local last, total = KEYS[1], KEYS[2]
local number, life_s = tonumber(ARGV[1]), ARGV[2]
if tonumber(redis.call('GET', last) or '0') >= number then
  return 0
end
redis.call('SET', last, number, 'EX', life_s)
local now_s, keys, lives_s, at = tonumber(redis.call('TIME')[1]), { total }, {}, 3
while ARGV[at] ~= '-' do
  local key = 'aether:metrics:' .. ARGV[at] .. ':' .. math.floor(now_s / tonumber(ARGV[at + 1]))
  table.insert(keys, key)
  lives_s[key] = ARGV[at + 2]
  at = at + 3
end
for position = at + 1, #ARGV, 2 do
  for _, key in ipairs(keys) do
    redis.call('HINCRBY', key, ARGV[position], ARGV[position + 1])
  end
end
for key, life in pairs(lives_s) do
  redis.call('EXPIRE', key, life)
end
return 1
