# Adds a few textured sprites in every frame, drops the oldest, and quits after 200 frames.
extends Node2D

var drawn = 0

func _process(_delta):
	drawn += 1
	for i in range(4):
		var image = Image.new()
		image.create(16 + (drawn * 5 + i) % 80, 48, false, Image.FORMAT_RGBA8)
		image.fill(Color(i / 4.0, (drawn % 50) / 50.0, 0.4))
		var texture = ImageTexture.new()
		texture.create_from_image(image)
		var sprite = Sprite.new()
		sprite.texture = texture
		sprite.position = Vector2((drawn * 11 + i * 60) % 320, i * 50)
		add_child(sprite)
	while get_child_count() > 60:
		var oldest = get_child(0)
		remove_child(oldest)
		oldest.free()
	if drawn >= 200:
		get_tree().quit()
