-- Generates the map around the start and then ends the server.
minetest.after(0, function()
    local low, high = { x = -64, y = -48, z = -64 }, { x = 64, y = 48, z = 64 }
    minetest.emerge_area(low, high, function(_, _, left)
        if left == 0 then minetest.request_shutdown("done", false, 0) end
    end)
end)
