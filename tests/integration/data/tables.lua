-- Allocates the same way every time: nested tables, growing arrays and strings.
local depth = tonumber(arg[1]) or 11

local function tree(level)
    if level == 0 then return { leaf = true } end
    return { left = tree(level - 1), right = tree(level - 1), name = "node " .. level }
end

local function count(node)
    if node.leaf then return 1 end
    return 1 + count(node.left) + count(node.right)
end

for level = 4, depth do print(level, count(tree(level))) end
local words = {}
for i = 1, 20000 do words[i] = ("%x"):format(i * 2654435761 % 4294967296):rep(i % 7) end
table.sort(words)
print(#table.concat(words, " "))
