-- Learn from calls that ended how long answers are and how many tokens characters come to. Counts are halved when they
-- reach a bound, so that what is old weighs less.
-- KEYS  1 what was learned of the answers of one user or of all: a hash, `<model>` and `<model>|<what>`
-- ARGV  1 model, 2 ttl s, then of each call: characters and tokens of its prompt, characters and tokens of its text, tokens
--       that it had beside the text
-- Answer: the summary, which stands at `<model>`: median of the text's tokens, 95th percentile of the hidden ones, calls,
--         tokens per 1,000 characters of prompts, the same of texts
local model, ttl_s = unpack(ARGV, 1, 2)
local first_call, numbers_a_call = 3, 5
-- Neighbouring counts are so far apart.
local FACTOR = 1.15
local MOST_CALLS = 256
local learned = KEYS[1]

local function named(what)
  return model .. '|' .. what
end

local function bucket_of(tokens)
  return math.floor(math.log(math.max(1, tokens)) / math.log(FACTOR))
end

for i = first_call, #ARGV, numbers_a_call do
  local prompt_chars, input_tokens, text_chars, text_tokens, hidden_tokens = unpack(ARGV, i, i + numbers_a_call - 1)
  redis.call('HINCRBY', learned, named('calls'), 1)
  redis.call('HINCRBY', learned, named('prompt_chars'), prompt_chars)
  redis.call('HINCRBY', learned, named('input_tokens'), input_tokens)
  redis.call('HINCRBY', learned, named('text_chars'), text_chars)
  redis.call('HINCRBY', learned, named('text_tokens'), text_tokens)
  redis.call('HINCRBY', learned, named('text:' .. bucket_of(tonumber(text_tokens))), 1)
  local hidden = tonumber(hidden_tokens)
  redis.call('HINCRBY', learned, named('hidden:' .. (hidden > 0 and bucket_of(hidden) or -1)), 1)
end

local sums, counts, prefix = {}, { text = {}, hidden = {} }, named('')
local all = redis.call('HGETALL', learned)
local is_full = tonumber(redis.call('HGET', learned, named('calls'))) >= MOST_CALLS
for i = 1, #all, 2 do
  local name, count = all[i], tonumber(all[i + 1])
  if string.sub(name, 1, #prefix) == prefix then
    if is_full then
      count = math.floor(count / 2)
      if count == 0 then
        redis.call('HDEL', learned, name)
      else
        redis.call('HSET', learned, name, whole(count))
      end
    end
    local what = string.sub(name, #prefix + 1)
    local kind, bucket = string.match(what, '^(%a+):(-?%d+)$')
    if kind then
      counts[kind][#counts[kind] + 1] = { tonumber(bucket), count }
    else
      sums[what] = count
    end
  end
end

-- Return the number below which a share of the counts lies.
local function quantile(pairs_, share)
  table.sort(pairs_, function(one, other) return one[1] < other[1] end)
  local total, seen = 0, 0
  for _, pair in ipairs(pairs_) do
    total = total + pair[2]
  end
  for _, pair in ipairs(pairs_) do
    seen = seen + pair[2]
    if seen >= total * share then
      return pair[1] < 0 and 0 or math.ceil(FACTOR ^ (pair[1] + 0.5))
    end
  end
  return 0
end

local function per_mille(tokens, chars)
  return math.floor(1000 * (sums[tokens] or 0) / math.max(1, sums[chars] or 0))
end

local summary = table.concat({ quantile(counts.text, 0.5), quantile(counts.hidden, 0.95), sums.calls or 0,
  per_mille('input_tokens', 'prompt_chars'), per_mille('text_tokens', 'text_chars') }, ' ')
redis.call('HSET', learned, model, summary)
redis.call('EXPIRE', learned, ttl_s)
return summary
