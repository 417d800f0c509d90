// A window of moving tiles, some of which are drawn through a texture of their own; ends by itself.
import QtQuick
import QtQuick.Window

Window {
    id: window
    width: 320
    height: 240
    visible: true
    property int drawn: 0
    property int last: 120

    Repeater {
        id: tiles
        model: 24
        Rectangle {
            required property int index
            x: (index * 41 + window.drawn * 2) % 300
            y: index * 29 % 220
            width: 32
            height: 32
            rotation: window.drawn + index
            color: Qt.hsla(index / 24, 0.7, 0.5, 1)
            layer.enabled: (index + Math.floor(window.drawn / 10)) % 3 == 0
        }
    }
    Text {
        text: "frame " + window.drawn
        font.pixelSize: 12 + window.drawn % 20
    }
    onFrameSwapped: {
        drawn++
        if (drawn % 20 == 0) tiles.model = 16 + drawn / 20 % 5 * 4
        if (drawn >= last) Qt.quit()
    }
}
